// CRC32C (Castagnoli, reflected polynomial 0x82F63B78) with the processor's own instruction.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Whether this processor has the instruction; where it has not, `crc32c_hardware` must not be called.
bool crc32c_hardware_available(void);

/// Continues `crc` (neither inverted before nor after) over `count` bytes.
uint32_t crc32c_hardware(uint32_t crc, const void *_Nonnull bytes, size_t count);
