"""Stored bytes -> SMTP, through the outbox: a plan of what goes to whom, its bytes, and the sending of it.

The plan is pure: parcels, each with a recipe that tells how it is made of stored messages. Intent for every
message is written before anything is connected to, `sending` before a message's first byte, the outcome after
the server's answer. Nothing here sends again by itself: a deferred recipient is due for the daemon, an
`unknown` one waits for the user.
"""

from archiver.resend.block import new_message_id, resent_block
from archiver.resend.compose import compose
from archiver.resend.delivery import MessageReport, Report, deliver
from archiver.resend.job import Fetch, Job
from archiver.resend.plan import DAY, Parcel, enqueue, mailboxes, resend, split, stored
from archiver.resend.recipe import FORMS, Form, Recipe
from archiver.resend.retry import LAST_TRY, next_try

__all__ = [
    "DAY",
    "FORMS",
    "LAST_TRY",
    "Fetch",
    "Form",
    "Job",
    "MessageReport",
    "Parcel",
    "Recipe",
    "Report",
    "compose",
    "deliver",
    "enqueue",
    "mailboxes",
    "new_message_id",
    "next_try",
    "resend",
    "resent_block",
    "split",
    "stored",
]
