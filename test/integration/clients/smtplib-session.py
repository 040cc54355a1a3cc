"""Sends the message that comes from standard input with Python's smtplib.

The one argument is a JSON object: security (plain, starttls, implicit), host, port, ca (a file),
user, password, sender and recipient.
"""

import json
import smtplib
import ssl
import sys

# Else smtplib asks the name service.
OWN_NAME = "client.example"


def open_session(task):
    context = ssl.create_default_context(cafile=task["ca"])
    where = {"host": task["host"], "port": task["port"], "local_hostname": OWN_NAME, "timeout": 20}
    if task["security"] == "implicit":
        return smtplib.SMTP_SSL(**where, context=context)
    client = smtplib.SMTP(**where)
    if task["security"] == "starttls":
        client.starttls(context=context)
    return client


def main():
    task = json.loads(sys.argv[1])
    message = sys.stdin.buffer.read()
    with open_session(task) as client:
        client.login(task["user"], task["password"])
        client.sendmail(task["sender"], [task["recipient"]], message)


main()
