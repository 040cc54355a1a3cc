"""Reads a mailbox with Python's poplib and prints what it saw as JSON.

The one argument is a JSON object: mode (plain, stls, implicit), host, port, ca (a file),
user, password, and sessions: how many to run at the same time.
"""

import hashlib
import json
import poplib
import ssl
import sys
import threading


def open_session(task):
    context = ssl.create_default_context(cafile=task["ca"])
    if task["mode"] == "implicit":
        return poplib.POP3_SSL(task["host"], task["port"], timeout=20, context=context), None
    client = poplib.POP3(task["host"], task["port"], timeout=20)
    before = client.capa()
    if task["mode"] == "stls":
        client.stls(context)
    return client, before


def session(task):
    client, before = open_session(task)
    capabilities = client.capa()
    client.user(task["user"])
    client.pass_(task["password"])
    count, _ = client.stat()
    messages = []
    for number in range(1, count + 1):
        _, lines, _ = client.retr(number)
        messages.append(hashlib.sha256(b"".join(line + b"\r\n" for line in lines)).hexdigest())
    client.quit()
    return {"before": before, "capabilities": capabilities, "messages": messages}


def main():
    task = json.loads(sys.argv[1])
    results = []
    failures = []

    def work():
        try:
            results.append(session(task))
        except Exception as error:  # reported to the test, with its type
            failures.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(task["sessions"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"results": results, "failures": failures}))


main()
