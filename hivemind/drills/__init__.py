"""Drills: a fault that is put into a hive which runs, what became of its promises, and the fault taken back.

- who sends and receives meanwhile: ``probe`` ``diary`` ``crew``; what must not stay of them: ``cleaning``
- what is done: ``faults`` ``kills`` ``freezes`` ``redis_faults`` ``moves`` ``disk``; to whom: ``site`` ``targets``
  ``victims``
- which there are: ``choice``; what is promised then: ``limits``
- who takes it back, whatever becomes of the drill: ``healer``
- how a drill goes: ``course`` ``drill``; what came of it: ``books`` ``report``
"""
