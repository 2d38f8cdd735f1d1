package cache

// A slot word, the 8 bytes that an index slot holds:
//
//	 63  62 61                          32 31                           2 1    0
//	+------+------------------------------+------------------------------+------+
//	|queue | position modulo 2^30         | tag                          | freq |
//	+------+------------------------------+------------------------------+------+
//
// Every change of a slot is one atomic 8-byte store. A tag is never 0, so the
// word 0 is an empty slot and matches no key.
type word uint64

const (
	freqBits = 2
	tagBits  = 30
	posBits  = 30

	tagShift   = freqBits
	posShift   = tagShift + tagBits
	queueShift = posShift + posBits

	tagMask  = word(1<<tagBits-1) << tagShift
	freqMask = word(1<<freqBits - 1)

	lap     = 1 << posBits // units after which a position repeats: 16 GiB
	posMask = lap - 1
)

func makeWord(queue uint8, pos uint64, tag uint32) word {
	return word(queue)<<queueShift | word(pos&posMask)<<posShift | word(tag)<<tagShift
}

// freq is how often the entry was used lately, 3 at most: a hint for who is
// evicted, and for what to bring back first after Open. withFreq carries it to
// another word.
func (w word) freq() int              { return int(w & freqMask) }
func (w word) withFreq(freq int) word { return w&^freqMask | word(max(freq, 0)) }

func (w word) queue() uint8 { return uint8(w >> queueShift) }
func (w word) pos() uint32  { return uint32(w>>posShift) & posMask }
func (w word) tag() uint32  { return uint32(w>>tagShift) & (1<<tagBits - 1) }

// within reports whether the word's position lies in [head, tail), which must
// span less than a lap: then the position modulo a lap names one position.
func (w word) within(head, tail uint64) bool {
	return uint64((w.pos()-uint32(head))&posMask) < tail-head
}

// onFile is the word that files may hold: none for a MemoryOnly entry.
func (w word) onFile() word {
	if w.queue() >= fileQueues {
		return 0
	}
	return w
}
