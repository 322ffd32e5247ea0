from dataclasses import fields, replace

from ray_musicssl.audio.ledger import (
    LEDGER_SCHEMA,
    LedgerRow,
    common_reasons,
    count_statuses,
    read_ledger,
    with_duplicates_noted,
    write_ledger,
)

USED = LedgerRow(path="a", track_id="1", status="used", num_clips=2, pcm_sha256="x", peak=0.5, seconds_in=31.25)
BAD = LedgerRow(path="b", track_id="2", status="rejected", reason="not decodable: no idea")


def test_rows_survive_the_disk(tmp_path):
    write_ledger(tmp_path / "ledger.parquet", [USED, BAD])
    assert read_ledger(tmp_path / "ledger.parquet") == [USED, BAD]


def test_schema_has_the_fields_of_a_row_in_their_order():
    assert LEDGER_SCHEMA.names == [field.name for field in fields(LedgerRow)]


def test_later_copies_name_the_first_one_and_stay_used():
    copies = [replace(USED, path="c"), replace(USED, path="d", reason="tail dropped: 0.1 s")]
    noted = with_duplicates_noted([USED, BAD, *copies, replace(USED, path="e", pcm_sha256="y")])
    assert [row.reason for row in noted] == [
        "",
        "not decodable: no idea",
        "same audio as: a",
        "tail dropped: 0.1 s; same audio as: a",
        "",
    ]
    assert [row.status for row in noted] == ["used", "rejected", "used", "used", "used"]


def test_rejected_files_are_not_copies_of_each_other():
    rows = [BAD, replace(BAD, path="c")]
    assert with_duplicates_noted(rows) == rows


def test_reasons_are_counted_by_kind():
    rows = [USED, BAD, replace(BAD, reason="not decodable: other"), replace(BAD, reason="empty file")]
    assert list(common_reasons(rows).items()) == [("not decodable", 2), ("empty file", 1)]
    assert count_statuses(rows) == {"used": 1, "partial": 0, "suspect": 0, "rejected": 3}
