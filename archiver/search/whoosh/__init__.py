"""The engine on Whoosh's files.

What is on disk is a genuine Whoosh index: stock schema, W3 segments, a TOC that names them. Stock
Whoosh opens, searches and optimises it. Beside it lie our own records (record.py): how far the index
is and what its files must be.

    record      <-> archiver-<generation>.json, the privacy of the directory
    storage     what must be on the disk before it is known
    parts       the parts of a segment file, through a memory map
    postings    <-> the bytes of a posting list
    segment     reads one segment, without importing Whoosh (start-up time)
    table       writes a term table
    build       writes a segment from columns and lists
    gather      documents in memory -> columns and lists
    merge       several segments -> columns and lists
    toc         what stock Whoosh sees: the one importer of it
    sweep       what belongs to no commit: drafts, and what killed writers left
    commit      the order of a commit that survives a kill
    write       what changes an index
    lists       posting lists, read where a query needs them
    lexicon     <-> the terms of a field as one text
    shown       what is shown of documents, as lines of one text, for regular expressions
    groups      several terms as if they were one
    expand      which terms are of a form, or a few letters away
    rows        where terms stand: in a row, near each other
    numbers     <-> the ledger's numbers of a segment's documents, noted beside it
    evaluate    query tree -> documents of a segment, window by window
    pages       the page by date, over all segments
    totals      how many there are in all, counted or estimated
    conversations  what hangs together by its ids, over all segments
    survey      what all documents found are together
    sort        the page by size or sender
    rank        BM25F as Whoosh computes it
    engine      WhooshIndex, the protocol
"""
