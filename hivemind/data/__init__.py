"""The data layer: what the hive knows about itself, kept in Redis.

- who is alive: ``registry`` ``records`` ``heartbeat``, and how long what took: ``histogram``; who waits for an
  instance: ``standby``; for others: ``needs``
- which topics there are, where patterns are resolved: ``directory`` ``resolution`` ``announcer`` ``resolver``
  ``onlooker``
- kept topics: ``kept`` ``entries`` ``tending`` ``kept_watch``; what of them is over: ``caretaker``
- groups that read them: ``group`` ``heirs``; how they are: ``backlog`` ``mismatch`` ``durability``
  ``letters`` ``picking``
- who of the responders is dead: ``responders``; whether Redis is as a hive needs it: ``checkup``,
  and its Sentinels: ``quorum``
- a copy of it all: ``backup`` ``restore``, in a ``copy_file``; its ``kinds`` of keys; how it is laid out: ``layout``
- going over to another Redis: ``move``, while there is a ``hold``, to a ``destination``; ``bulk`` ``survey``
"""
