"""L12: audit."""

from tests.faults.corruptions.making import Copy, corruption, fresh

APPEND_ONLY = "ALTER TABLE audit_entries DISABLE TRIGGER USER"


@corruption("L12")
def an_audit_row_altered(copy: Copy) -> str:
    row = copy.one("signup", "SELECT min(id) FROM audit_entries")
    copy.run("signup", f"UPDATE audit_entries SET details = details || '{{\"x\": 1}}' WHERE id = {row}")
    return f"signup audit {row}"


@corruption("L12")
def an_audit_row_removed(copy: Copy) -> str:
    row = copy.one("matching", "SELECT min(id) FROM audit_entries")
    following = copy.one("matching", f"SELECT min(id) FROM audit_entries WHERE id > {row}")
    copy.run("matching", f"DELETE FROM audit_entries WHERE id = {row}")
    return f"matching audit {following}"


@corruption("L12")
def the_last_audit_row_removed(copy: Copy) -> str:
    copy.run("endorsement", APPEND_ONLY, "DELETE FROM audit_entries WHERE id = (SELECT max(id) FROM audit_entries)")
    return "endorsement audit head"


@corruption("L12")
def an_account_that_nobody_opened(copy: Copy) -> str:
    account = copy.one("signup", "SELECT id FROM accounts ORDER BY id LIMIT 1")
    copy.run("signup", f"UPDATE audit_entries SET subject = '{fresh()}' WHERE subject = '{account}'")
    return str(account)
