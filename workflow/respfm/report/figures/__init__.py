"""One module per figure, so that a change of one figure's code draws that figure again and no other."""
