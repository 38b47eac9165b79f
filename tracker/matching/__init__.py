"""Siamese matchers for any modality: do two inputs show the same object? Encoders, losses, calibration and galleries;
the tracker is their spatial case.

encoders    one registry: the tracker's backbones with pooling, a small CNN, an LSTM over tokens, any module of one's
            own
twins       the two sides of a pair: one encoder for both (tied), or two with a shared space (cross-modal)
sources     folders of classes, csv of pairs or triplets, video tracks, COCO boxes, texts
train       the project's trainer on batches of classes or pairs
matcher     what a user holds: embed, similarity, verify
gallery     known things as a file; calibration: from a similarity to a probability and to a decision
search      known things found in pictures and videos
protocols   one-shot, verification and sentence-similarity tests
"""
