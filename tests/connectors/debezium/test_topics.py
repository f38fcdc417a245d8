"""Topics of a real broker, and schemas of a real registry, read like a tool."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewPartitions

from connectors._kit.contract import (
    Account,
    Denied,
    Forged,
    Inbound,
    Page,
    Reading,
    Unavailable,
    Unreadable,
)
from connectors.debezium.connector import PAGE, Place, continued
from connectors.debezium.topics import Topic
from deploy.local.parts import Kafka
from hub.listeners import wait_for
from tests.connectors.debezium.tools import (
    Shop,
    captured,
    declared,
    in_avro,
    inserted,
    registered,
    source,
    with_schema,
    without_schema,
)

FORMS = ("JSON with its schema", "JSON without", "Avro")


def shop_of(form: str, kafka: str, registry: str) -> Shop:
    """A shop whose Debezium has this converter."""
    writes = {FORMS[0]: with_schema, FORMS[1]: without_schema}
    return Shop(kafka, registry, write=writes.get(form) or in_avro(registered(registry)))


def rows_of(pages: list[Page]) -> list[Reading]:
    """All readings of some pages."""
    return [reading for page in pages for reading in page.readings]


def ids_of(pages: list[Page]) -> list[str]:
    """Whose readings these are."""
    return [reading.native_id for reading in rows_of(pages)]


@pytest.mark.parametrize("form", FORMS)
def test_a_topic_is_read_to_its_end(form: str, kafka: str, registry: str) -> None:
    """Each converter's messages arrive, in order; then there is nothing more."""
    shop = shop_of(form, kafka, registry)
    shop.make()
    api = shop.api()
    cursor = shop.begin(api)
    shop.tell(captured())
    assert shop.connector.check(api) == ()
    (page,) = shop.pages(api, cursor)
    assert ids_of([page]) == ["1", "2", "2", "2", "1000", "1000", "1000", "1000"]
    assert page.broken == ()
    assert not page.expired
    again = shop.connector.changes(api, shop.spec, page.cursor)
    assert (again.readings, again.cursor, again.done) == ((), page.cursor, True)
    api.close()


def test_pages_go_on_where_they_ended(kafka: str) -> None:
    """Also in another process, and a page that was not kept comes again as it was."""
    shop = Shop(kafka)
    shop.make(2)
    for part in range(2):
        shop.tell([inserted(id=n) for n in range(part, 130, 2)], part)
    api, other = shop.api(), shop.api()
    first = shop.connector.changes(api, shop.spec, shop.begin(api))
    assert len(first.readings) == PAGE
    assert not first.done
    rest = shop.pages(other, first.cursor)
    assert sorted(map(int, ids_of([first, *rest]))) == list(range(130))
    shop.connector.changes(api, shop.spec, first.cursor)
    assert sorted(ids_of(shop.pages(api, first.cursor))) == sorted(ids_of(rest))
    shop.tell([inserted(id=500)])
    assert ids_of(shop.pages(other, rest[-1].cursor)) == ["500"]
    api.close()
    other.close()


def test_what_is_not_committed_is_not_there(kafka: str) -> None:
    """Messages of a transaction that was broken off are left out, and marks are no messages."""
    shop = Shop(kafka)
    shop.make()
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(20)
    for commit, own in ((False, 1), (True, 2), (False, 3)):
        producer.begin_transaction()
        one = inserted(id=own)
        producer.produce(shop.topic, with_schema(one.value), with_schema(one.key), 0)
        (producer.commit_transaction if commit else producer.abort_transaction)(20)
    api = shop.api()
    begin = shop.begin(api)
    assert wait_for(lambda: ids_of(shop.pages(api, begin)) == ["2"], 10)
    pages = shop.pages(api, begin)
    producer.begin_transaction()
    producer.produce(shop.topic, with_schema(inserted(id=4).value), b'{"id":4}', 0)
    producer.flush()
    assert ids_of(shop.pages(api, pages[-1].cursor)) == []
    producer.commit_transaction(20)
    assert wait_for(lambda: ids_of(shop.pages(api, pages[-1].cursor)) == ["4"], 10)
    api.close()


def test_a_gap_says_so(kafka: str) -> None:
    """What the broker dropped before it was read is lost, and the rest is read."""
    shop = Shop(kafka)
    shop.make()
    shop.tell([inserted(id=n) for n in (1, 2, 3)])
    api = shop.api()
    seen = shop.pages(api, shop.begin(api))[-1].cursor
    shop.tell([inserted(id=n) for n in (4, 5, 6)])
    gone = shop.admin.delete_records([TopicPartition(shop.topic, 0, 5)])
    for done in gone.values():
        done.result(10)
    page = shop.connector.changes(api, shop.spec, seen)
    assert (ids_of([page]), page.expired) == (["6"], True)
    assert "let Debezium take a snapshot of the table again" in page.broken[0][0]
    fresh = shop.connector.changes(api, shop.spec, shop.begin(api))
    assert (ids_of([fresh]), fresh.expired) == (["6"], False)
    api.close()


def test_a_topic_that_is_made_anew_leads_in_revisions(kafka: str) -> None:
    """Offsets begin anew, and all the same what is told there is later."""
    shop = Shop(kafka)
    shop.make()
    shop.tell([inserted(id=n) for n in range(5)])
    api = shop.api()
    before = shop.pages(api, shop.begin(api))
    shop.admin.delete_topics([shop.topic])[shop.topic].result(10)
    with pytest.raises(Unavailable, match="Debezium makes a table's topic with its first row"):
        shop.connector.changes(api, shop.spec, before[-1].cursor)
    shop.make()
    shop.tell([inserted(id=n) for n in range(7)])
    after = shop.pages(api, before[-1].cursor)
    assert after[0].expired
    assert ids_of(after) == [str(n) for n in range(7)]
    highest = max(r.revision or 0 for r in rows_of(before))
    assert all((r.revision or 0) > highest for r in rows_of(after))
    assert not shop.connector.changes(api, shop.spec, after[-1].cursor).expired
    api.close()


def test_new_partitions_come_after_the_old_ones(kafka: str) -> None:
    """What stands in them is later than all that the old ones held when they were found."""
    shop = Shop(kafka)
    shop.make()
    api = shop.api()
    cursor = shop.begin(api)
    shop.tell([inserted(id=n) for n in range(60)])
    shop.admin.create_partitions([NewPartitions(shop.topic, 2)])[shop.topic].result(10)
    shop.producer = Producer({"bootstrap.servers": kafka})  # it knows of both
    shop.tell([inserted(id=0)], 1)
    pages = shop.pages(api, cursor)
    assert ids_of(pages) == [*(str(n) for n in range(60)), "0"]
    revisions = [r.revision or 0 for r in rows_of(pages)]
    assert revisions[-1] > max(revisions[:-1])
    assert not any(page.expired for page in pages)
    api.close()


def test_one_bad_message_spoils_no_page(kafka: str, registry: str) -> None:
    """It is set aside with the place where it stands, and so is one of an unknown schema."""
    shop = Shop(kafka, registry)
    shop.make()
    shop.tell([inserted(id=1)])
    for bad in (b"{", b"\0\x7f\xff\xff\xff\x02"):
        shop.producer.produce(shop.topic, bad, b'{"id":9}', 0)
    shop.producer.flush(10)
    shop.tell([inserted(id=2)])
    api = shop.api()
    (page,) = shop.pages(api, shop.begin(api))
    assert ids_of([page]) == ["1", "2"]
    (first, raw), (second, _) = page.broken
    assert raw == b"{"
    assert f"{shop.topic} partition 0 offset 1: neither JSON nor Avro" in first
    assert "schema registry /schemas/ids/2147483647: answered 404" in second
    assert len(shop.connector.check(api)) == 2
    api.close()


def test_a_check_says_what_would_not_map(kafka: str) -> None:
    """A column that rows do not have, a value that fits no field, and a topic without messages."""
    shop = Shop(kafka)
    shop.make()
    given = source(shop.topic, bootstrap=kafka)
    fields = {"phone": "phones", "birth_date": "email", "email": "email"}
    given["tables"]["customers"] |= {"fields": fields}
    connector = declared(given)
    api = connector.connect({}, lambda: 0)
    (empty,) = connector.check(api)
    assert empty == f"customers: {shop.topic} holds no message, so nothing could be tried"
    shop.tell(captured())
    told = connector.check(api)
    assert "customers: phone: the rows have no column 'phones'; did you mean phone?" in told
    assert any(one.startswith("customers: birth_date: email: 'ada@") for one in told)
    api.close()


def test_avro_without_a_registry_is_told(kafka: str, registry: str) -> None:
    """The declaration lacks an address, and the message is kept."""
    shop = shop_of("Avro", kafka, registry)
    shop.make()
    shop.tell([inserted()])
    poor = replace(shop, registry="")
    api = poor.api()
    (page,) = poor.pages(api, poor.begin(api))
    assert "names no `registry`" in page.broken[0][0]
    api.close()


def test_brokers_that_do_not_answer(kafka: str) -> None:
    """A broker that is gone is tried again later, and so is a registry; nothing is parked."""
    nobody = declared(source())
    api = nobody.connect({}, lambda: 0)
    with pytest.raises(Unavailable, match=r"brokers 127\.0\.0\.1:1"):
        nobody.account(api)
    api.close()
    shop = Shop(kafka, "http://127.0.0.1:1")
    shop.make()
    shop.producer.produce(shop.topic, b"\0\0\0\0\1\2", b'{"id":9}', 0)
    shop.producer.flush(10)
    api = shop.api()
    with pytest.raises(Unavailable, match="schema registry /schemas/ids/1"):
        shop.pages(api, shop.begin(api))
    api.close()


def test_the_account_is_the_cluster(kafka: str) -> None:
    """Another cluster is another account; whether it is live it does not say."""
    shop = Shop(kafka)
    api = shop.api()
    own = str(shop.admin.list_topics(timeout=10).cluster_id)
    assert shop.connector.account(api) == Account(own, live=None)
    api.close()


def test_nothing_is_written_or_asked() -> None:
    """There is no way to write, to ask for a row, or to send a webhook."""
    connector = declared(source())
    api, (spec,) = connector.connect({}, lambda: 0), connector.objects
    with pytest.raises(Denied):
        api.send("POST", "/")
    with pytest.raises(Unreadable):
        connector.read(api, spec, ["2"])
    with pytest.raises(Unreadable):
        connector.listing(api, spec, "")
    with pytest.raises(Forged):
        connector.hints(Inbound("POST", "", {}, b"", 0), {})
    assert (spec.log, spec.writes) == (True, False)
    api.close()


def test_signing_in_needs_credentials() -> None:
    """What is missing is named before anything is asked."""
    with pytest.raises(ValueError, match="sasl_tls needs username"):
        declared(source(security="sasl_tls")).connect({}, lambda: 0)


SAFE = {
    "sasl.enabled.mechanisms": "PLAIN",
    "listener.name.safe.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain."
    'PlainLoginModule required user_shop="pass-of-shop" user_guest="pass-of-guest";',
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS;User:shop",
}


def test_a_refusal_is_told_at_once(own_kafka: Callable[..., Kafka]) -> None:
    """A wrong password, and a topic that the user may not read, are for a person."""
    broker = own_kafka(settings=SAFE, listeners={"SAFE": "SASL_PLAINTEXT"})
    shop = Shop(broker.address)
    shop.make()
    shop.tell(captured())
    safe = {"bootstrap": broker.at("SAFE"), "security": "sasl_plaintext", "sasl": "PLAIN"}
    connector = declared(source(shop.topic, **safe))

    def asked(user: str, password: str) -> Page:
        api = connector.connect({"username": user, "password": password}, lambda: 0)
        try:
            return connector.changes(api, shop.spec, connector.begin(api, shop.spec, 0))
        finally:
            api.close()

    with pytest.raises(Denied, match="Invalid username or password"):
        asked("shop", "wrong")
    with pytest.raises(Denied, match="Topic authorization failed"):
        asked("guest", "pass-of-guest")
    assert asked("shop", "pass-of-shop").done


def test_a_broker_that_comes_back_is_read_on(own_kafka: Callable[..., Kafka]) -> None:
    """While it is down that is told; afterwards the same way leads on where it was left."""
    broker = own_kafka()
    shop = Shop(broker.address)
    shop.make()
    shop.tell([inserted(id=1)])
    api = shop.api()
    (first,) = shop.pages(api, shop.begin(api))
    broker.kill()
    with pytest.raises(Unavailable, match="brokers"):
        shop.connector.changes(api, shop.spec, first.cursor)
    broker.start()
    shop.tell([inserted(id=2)])
    assert ids_of(shop.pages(api, first.cursor)) == ["2"]
    api.close()


def test_certificates_are_looked_at(tmp_path: Path) -> None:
    """A file that is not there is named at once, one that is no certificate when it is used."""
    with pytest.raises(ValueError, match=r"source\.ca_file: .*ca\.pem does not exist"):
        declared(source(security="tls", ca_file=str(tmp_path / "ca.pem"))).connect({}, lambda: 0)
    (tmp_path / "ca.pem").write_text("no certificate")
    connector = declared(source(security="tls", ca_file=str(tmp_path / "ca.pem")))
    with pytest.raises(Denied, match=r"ssl\.ca\.location"):
        connector.account(connector.connect({}, lambda: 0))


PLACES: list[tuple[Any, Any, Any]] = [
    ((("5",), "t"), (("t",), (0,), (9,)), ((5,), 0, False)),
    ((("5",), "t"), (("t",), (6,), (9,)), ((6,), 0, True)),
    ((("0",), "t"), (("t",), (6,), (9,)), ((6,), 0, False)),
    ((("9",), "t"), (("t",), (0,), (8,)), ((0,), 1, True)),
    ((("5",), "t"), (("u",), (0,), (9,)), ((0,), 1, True)),
    ((("0",), "t"), (("u",), (0,), (9,)), ((0,), 1, False)),
    ((("5", "1"), "t"), (("t",), (0,), (9,)), ((0,), 1, True)),
    ((("5",), "t"), (("t",), (0, 0), (9, 3)), ((5,), 0, False)),
    ((("9",), "t"), (("t",), (0, 1), (9, 3)), ((9, 1), 1, False)),
]


@pytest.mark.parametrize(("stood", "topic", "wanted"), PLACES)
def test_where_a_topic_is_read_on(stood: Any, topic: Any, wanted: Any) -> None:
    """By what was read, what is kept, and whether it is the same topic."""
    offsets, own = stood
    (name,), low, high = topic
    place, lost = continued(Place(own, 0, offsets), Topic(name, low, high))
    assert (place.next, place.generation, lost) == wanted


def test_a_damaged_cursor_is_noticed() -> None:
    """A cursor is text that anybody may have touched."""
    for text in ("", "{}", '{"topic":"t","generation":0,"offsets":["x"]}'):
        with pytest.raises(Unreadable, match="damaged"):
            assert Place.of(text).next
