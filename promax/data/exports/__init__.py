"""Ticket exports of ServiceNow, Jira, Bugzilla and their like -> `Tickets`.

formats     CSV, XLSX, JSON -> numbered rows
files       a file -> one table, without the quirks of exports
roles       which column is what, by its header
cells       a cell -> a text
dates       a column of dates -> moments
columns     the table's columns, one row a ticket
leaks       columns that tell how a ticket ended
markup      HTML and wiki markup -> plain text
references  ticket numbers in texts
texts       the columns -> each ticket's text
tickets     the `Tickets` and `Export` types
reading     `read_export`: all of it, top to bottom
links       `read_links`: duplicate links in a file of their own
"""

from promax.data.exports.links import read_links
from promax.data.exports.reading import read_export
from promax.data.exports.tickets import Export, Tickets

__all__ = ["Export", "Tickets", "read_export", "read_links"]
