"""Which seeds there are, for nodes and the command line alike."""

# JavaScript has whole numbers up to here: of larger ones a browser sends others than were typed.
MOST_SEED = 2**53 - 1
