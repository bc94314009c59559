"""`python -m kerasunsup.supervised`: what an encoder that never saw a label is worth with labels.

On MNIST it takes about 15 minutes on two processor cores; with 100 labels the graph of codes is
right in about 96.7 % of the test images, the same network from scratch in 76.9 %.

Open `experiment` first. `settings` names the methods that are compared, `methods` trains them on
the cells that `cells` lists, `encoder` finds or trains the encoder that they start from, and
`results` holds the numbers and figures.
"""
