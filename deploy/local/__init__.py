"""The servers that a scaled hub talks to, as processes of one machine: for developers and tests."""
