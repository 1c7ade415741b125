// CRC-32C (Castagnoli, RFC 3720 appendix B.4), as the TFRecord framing of TensorBoard's files wants it.
#pragma once

#include <cstdint>
#include <string_view>

namespace pscale {

uint32_t crc32c(std::string_view bytes);

/// crc rotated right by 15 bits plus a constant: TFRecord stores this form, so that a checksum of data that
/// holds checksums stays good (tensorflow/core/lib/hash/crc32c.h).
uint32_t masked_crc32c(std::string_view bytes);

}  // namespace pscale
