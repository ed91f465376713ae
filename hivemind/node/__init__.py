"""The core: nodes, their services and subscriptions, and how a process runs one.

- what authors see: ``node`` ``base`` ``declarations`` ``logs``; ``middleware`` ``carrying`` ``resources``
- what a node is made of: ``inner`` ``service`` ``sends`` ``subscription`` ``responder`` ``in_hand``;
  durably ``durable`` ``settling`` ``results``; how its functions are called: ``signature`` ``calling``
  ``handover`` ``patience``; where they stand: ``places``
- what it does beside its handlers: ``keeping`` ``agreement`` ``answering`` ``gaps`` ``overdue`` ``lately`` ``meter``;
  what it tells others of its payloads: ``payload_types``
- a process and its nodes: ``program`` ``runner`` ``loading`` ``checking`` ``life`` ``member`` ``needs`` ``shared``
  ``stopping`` ``signals`` ``pulse``; how the next takes over from it: ``relay`` ``succession``;
  which code it has: ``loaded``
- how it asks others, as clients do: ``requesting``
"""
