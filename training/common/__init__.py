"""Ground of the verbs: how work stops, is locked, shared among processes, and told of."""
