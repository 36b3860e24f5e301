"""Finding messages: the query language, the analysis of text, the index and its engines.

fields      the one table of query fields
query       text of a query -> frozen tree (tree.py), by tokens and leaves
printer     a tree -> text of a query, and words
patterns    words of a form, words that are some letters apart; regex: regular expressions
limits      what a query may take
analysis    text -> terms, the same for index and query
places      tree of place predicates -> numbers of documents, asked from the ledger
threads     which messages belong together, and who answers whom
ids         Message-IDs as the index has them
index       what an index is: documents, hits, the protocol, and `open_index`
snippet     the part of a text that shows why it was found
whoosh/     the engine on files of Whoosh

Nothing outside this room knows which engine answers.
"""
