#include "textflag.h"

// MATCH leaves in OUT, for each slot of the bucket at PTR, a word that is all ones
// where the lower half of the slot is the tag in X0, frequency bits aside.
#define MATCH(PTR, OUT, TMP) \
	MOVOU  (PTR), OUT;        \
	MOVOU  16(PTR), TMP;      \
	SHUFPS $0x88, TMP, OUT;   \
	PAND   X1, OUT;           \
	PCMPEQL X0, OUT;          \
	MOVOU  32(PTR), TMP;      \
	MOVOU  48(PTR), X7;       \
	SHUFPS $0x88, X7, TMP;    \
	PAND   X1, TMP;           \
	PCMPEQL X0, TMP;          \
	PACKSSLW TMP, OUT

// func matchPair(p, q unsafe.Pointer, tag uint64) (slots uint32)
TEXT ·matchPair(SB), NOSPLIT, $0-28
	MOVQ   p+0(FP), AX
	MOVQ   q+8(FP), BX
	MOVQ   tag+16(FP), X0
	PSHUFL $0, X0, X0
	PCMPEQL X1, X1
	PSLLL  $2, X1
	MATCH(AX, X2, X3)
	MATCH(BX, X4, X5)
	PACKSSWB X4, X2
	PMOVMSKB X2, CX
	MOVL   CX, slots+24(FP)
	RET
