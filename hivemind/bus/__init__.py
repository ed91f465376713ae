"""The network: everything that talks to Redis. No other package imports ``redis`` or ``hiredis``.

- one process on the bus: ``bus``
- connections: ``endpoint`` ``greeting`` ``link`` ``commands`` ``conversation`` ``fences``; who logs in:
  ``credentials``; what goes wrong there, in errors of ours: ``translation``; what runs inside Redis: ``functions``;
  commands in a file: ``written``
- when Redis is away: what is said ``outage``; when it is tried again ``pace`` ``turned_away``; when it moves
  ``watch`` ``primary`` ``home_watch`` ``peers``; when the hive goes to another: ``door``
- a server of the hive's own: ``embedded`` ``server_program`` ``server_memory`` ``server_data``; what any says:
  ``server_info`` ``facts``, and Sentinels of it: ``sentinels``
- sending: ``outbox`` ``outgoing`` ``spool`` ``queues`` ``held`` ``carrier``
- receiving live: ``live`` ``channels`` ``channel_topics`` ``receiving`` ``inbox`` ``ledger`` ``senders``
- what passed by on kept topics: ``holes`` ``filling`` ``rereading`` ``ranges``
- durable delivery: sending ``appender`` ``assurance``; groups, from Redis ``streams`` ``group_reader`` ``keyed_reader``
  ``jobs`` ``jumps``; until they are settled ``deliveries`` ``delivery`` ``standing`` ``trials`` ``gate`` ``once``
  ``turns`` ``outcomes`` ``tally``
- requests: ``requests`` ``requests_wire`` ``requests_link``; who asks: ``asked`` ``asking`` ``deadlines`` ``replies``
  ``looking``; who answers: ``responding`` ``call``
- a Cluster's shards: ``cluster`` ``shards`` ``open_shards`` ``doubts`` ``lanes`` ``sharded_outbox`` ``sharded_live``
  ``shard_channels``
"""
