"""Input of the node: topics, waiting messages and transforms; messages become observations."""
