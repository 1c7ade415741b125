// The two ends of the model that are cut by vocabulary over the tensor ranks (Shoeybi et al. 2019): embedding and loss.
//
// The vocabulary is padded to T equal pieces; padding rows are zero, take no probability and never learn.
#pragma once

#include "core/autograd/tape.h"
#include "parallel/comm/communicator.h"

namespace pscale {

/// tokens int32 [n] (-1: padding, gives zero), the same on all tensor ranks; table [V/T, H], this rank's rows
/// -> [n/T, H], the rank's share of the tokens.
Var vocabulary_embedding(Tape& tape, const Var& table, const Tensor& tokens, Communicator& tensor);

/// What the head gives besides gradients.
struct VocabularyLoss {
  Var loss;  ///< [1]: scale times the sum of this rank's own tokens' losses, in nats; the tape ends here
  double sum = 0;  ///< the unscaled sum
};

/// Next-token cross-entropy of the head's logits, hidden head^T, without ever holding the logits of all tokens.
/// hidden [m, H], the tokens of this rank; head [V/T, H]; targets int32 [T m], those of all tensor ranks in rank order
/// (-1: does not count); `vocabulary`: V without padding. Each token's loss is counted on the tensor rank that holds its
/// hidden state. Gradients are computed along with the loss, so the loss must be the end of the tape: its gradient is 1.
VocabularyLoss vocabulary_loss(Tape& tape, const Var& hidden, const Var& head, const Tensor& targets,
                               Communicator& tensor, int64_t vocabulary, double scale);

}  // namespace pscale
