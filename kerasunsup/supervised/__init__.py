"""`python -m kerasunsup.supervised`: what an encoder that never saw a label is worth with labels.

Open `experiment` first. `settings` names the methods that are compared, `methods` trains them on
the cells that `cells` lists, `encoder` finds or trains the encoder that they start from,
`contrastive` trains another one beside it, and `results` holds the numbers and figures.
"""
