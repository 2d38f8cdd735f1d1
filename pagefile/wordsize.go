//go:build 386 || amd64p32 || arm || armbe || mips || mipsle || mips64p32 || mips64p32le || ppc || riscv || s390 || sparc

package pagefile

// Ember maps memory by the terabyte and changes eight bytes at once: it does not fit
// 32 bits, and says so by not compiling.
const _ = ember_needs_a_64_bit_platform
