"""Reads INBOX with Python's imaplib, adds a message to a new mailbox, reads it back from there, and
prints the SHA-256 of all that it has read as JSON.

The one argument is a JSON object: security (plain, starttls, implicit), host, port, ca (a file),
user, password, and mailbox: the name of the new one. The message comes from standard input.
"""

import hashlib
import imaplib
import json
import ssl
import sys


def open_session(task):
    context = ssl.create_default_context(cafile=task["ca"])
    if task["security"] == "implicit":
        return imaplib.IMAP4_SSL(task["host"], task["port"], ssl_context=context, timeout=20)
    client = imaplib.IMAP4(task["host"], task["port"], timeout=20)
    if task["security"] == "starttls":
        client.starttls(context)
    return client


def checked(answer):
    status, data = answer
    if status != "OK":
        raise RuntimeError(f"the server said {status} {data}")
    return data


def digests(client, mailbox):
    count = int(checked(client.select(mailbox, readonly=True))[0])
    found = []
    for number in range(1, count + 1):
        (_, message), _ = checked(client.fetch(str(number), "BODY.PEEK[]"))
        found.append(hashlib.sha256(message).hexdigest())
    return found


def main():
    task = json.loads(sys.argv[1])
    message = sys.stdin.buffer.read()
    client = open_session(task)
    checked(client.login(task["user"], task["password"]))
    inbox = digests(client, "INBOX")
    checked(client.create(task["mailbox"]))
    # imaplib would make CRLF of single CRs and LFs, and the message has none.
    checked(client.append(task["mailbox"], None, None, message))
    appended = digests(client, task["mailbox"])
    client.logout()
    print(json.dumps({"inbox": inbox, "appended": appended}))


main()
