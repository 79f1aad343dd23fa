"""Health: which relays get traffic, from what was seen of them. Pure; start reading at `decision`.

evidence → fold (remember) → suspicion, outcomes (weigh) → standing (damp) → pool (never all) → verdict
blindness says what is wrong with the looking; store keeps standings over a restart; policy holds every number.
"""
