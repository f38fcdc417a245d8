"""Beside the path: `demo` shows it, `bench` measures it, `simulate` tries to break it."""
