#include "textflag.h"

// func storeInOrder(p *uint64, v uint64)
TEXT ·storeInOrder(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ v+8(FP), CX
	MOVQ CX, (AX)
	RET
