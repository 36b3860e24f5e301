"""The engine on Whoosh's files.

What is on disk is a genuine Whoosh index: stock schema, W3 segments, a TOC that names them. Stock
Whoosh opens, searches and optimises it. Beside it lie our own records (record.py): how far the index
is and what its files must be.

    record      <-> archiver-<generation>.json, the privacy of the directory
    storage     files made private, synced, and committed in the order that survives a kill
    postings    <-> the bytes of a posting list
    segment     reads one segment through a memory map, without importing Whoosh (start-up time)
    build       writes one segment from prepared documents
    merge       several segments to one
    lists       posting lists, read where a query needs them
    numbers     <-> the ledger's numbers of a segment's documents, noted beside it
    evaluate    query tree -> documents of a segment, window by window
    pages       the page by date, over all segments
    totals      how many there are in all, counted or estimated
    rank        BM25F as Whoosh computes it
    engine      WhooshIndex, the protocol
"""
