import torch
from sklearn.datasets import load_digits
from torch.nn import Linear, ReLU, Sequential
from torch.nn.functional import cross_entropy

import ladder


def train(config):
    pixels, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16).float(), torch.tensor(digits)
    network = Sequential(Linear(64, config["units"]), ReLU(), Linear(config["units"], 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=config["lr"])
    if state := ladder.restore():
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
    for epoch in ladder.epochs():
        for rows in torch.randperm(1400).split(64):
            optimizer.zero_grad()
            cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
        right = network(x[1400:]).argmax(1) == y[1400:]
        ladder.checkpoint({"network": network.state_dict(), "optimizer": optimizer.state_dict()})
        ladder.report(epoch, val_acc=right.float().mean())
