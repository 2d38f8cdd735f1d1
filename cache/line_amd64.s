#include "textflag.h"

// func fetchLines(p unsafe.Pointer, n int)
TEXT ·fetchLines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX

line:
	PREFETCHT0 (AX)
	ADDQ $64, AX
	SUBQ $1, CX
	JGT  line
	RET

// func fetchToWrite(p unsafe.Pointer, n int)
TEXT ·fetchToWrite(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX

line:
	// PREFETCHW (AX), which the assembler has no name for. A processor of before
	// 2014 that does not know it does nothing.
	BYTE $0x0f; BYTE $0x0d; BYTE $0x08
	ADDQ $64, AX
	SUBQ $1, CX
	JGT  line
	RET
