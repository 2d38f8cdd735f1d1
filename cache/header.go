package cache

import "encoding/binary"

// A record is what a queue holds of an entry, padded with zeroes to whole units
// of 16 bytes so that no byte of an earlier owner of the memory reaches a file:
//
//	0        4      6        11       16
//	+--------+------+--------+--------+-----+----------------+---------+
//	| v | f  | klen | expiry | stored | key | value or list  | padding |
//	+--------+------+--------+--------+-----+----------------+---------+
//
//	v       27 bits: value length in bytes; to 128 MiB - 1
//	f        5 bits: flags, below
//	klen    16 bits: key length in bytes, 1 to 65,535; 0 ends a segment
//	expiry  40 bits: cache time in ms since 2020, 0 none; to the year 2054
//	stored  40 bits: cache time in ms since 2020 when the value was written
//
// A record takes half a segment at most. With flagLarge the value begins in
// segments of its own: the list of their numbers, 8 bytes each, stands in its
// place, followed by the rest of the value if that fits. With flagAbsent the key
// is known not to exist where values are loaded from: there is no value, and to
// all but a load it is a miss. With flagSliding the record has the default time to
// live, which a hit restarts. A record with any other flag is a miss: what it
// means is known to a later build only.
type header struct{ lo, hi uint64 }

const (
	headerSize = 16
	unitSize   = 16
	maxKey     = 1<<16 - 1
	maxValue   = 1<<27 - 1

	flagLarge   = 1 << 0
	flagAbsent  = 1 << 1
	flagSliding = 1 << 2

	timeMask    = 1<<40 - 1
	valueMask   = 1<<27 - 1
	flagsShift  = 27
	flagsMask   = 1<<5 - 1
	keyShift    = 32
	expLoShift  = 48
	expHiMask   = 1<<24 - 1
	storedShift = 24

	hiddenBits = (flagsMask &^ (flagLarge | flagSliding)) << flagsShift
)

func makeHeader(keyLen, valueLen int, flags uint8, expiry, stored int64) header {
	e, s := uint64(expiry)&timeMask, uint64(stored)&timeMask
	return header{
		lo: uint64(valueLen)&valueMask | uint64(flags)<<flagsShift | uint64(keyLen)<<keyShift | e<<expLoShift,
		hi: e>>16 | s<<storedShift,
	}
}

func readHeader(b []byte) header {
	_ = b[15]
	return header{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func (h header) put(b []byte) {
	_ = b[15]
	binary.LittleEndian.PutUint64(b, h.lo)
	binary.LittleEndian.PutUint64(b[8:], h.hi)
}

func (h header) valueLen() int { return int(h.lo & valueMask) }
func (h header) keyLen() int   { return int(h.lo >> keyShift & maxKey) }
func (h header) large() bool   { return h.lo>>flagsShift&flagLarge != 0 }
func (h header) flags() uint8  { return uint8(h.lo >> flagsShift & flagsMask) }
func (h header) expiry() int64 { return int64(h.lo>>expLoShift | h.hi&expHiMask<<16) }
func (h header) stored() int64 { return int64(h.hi >> storedShift) }

// expired reports whether the entry's time is over at now, in ms of cache time.
func (h header) expired(now int64) bool { e := h.expiry(); return e != 0 && e <= now }

// hidden reports whether the record has no value to serve.
func (h header) hidden() bool { return h.lo&hiddenBits != 0 }

// gone reports whether the entry counts as absent at now.
func (h header) gone(now int64) bool { return h.lo&hiddenBits != 0 || h.expired(now) }

// slides reports whether a hit restarts the entry's time to live.
func (h header) slides() bool { return h.lo&(flagSliding<<flagsShift) != 0 }

// withExpiry is the header with another expiry.
func (h header) withExpiry(expiry int64) header {
	return makeHeader(h.keyLen(), h.valueLen(), h.flags(), expiry, h.stored())
}

// at is the header with the times of another.
func (h header) at(o header) header {
	flags := h.flags()&^flagSliding | o.flags()&flagSliding
	return makeHeader(h.keyLen(), h.valueLen(), flags, o.expiry(), o.stored())
}

// layout says how many segments of its own the value has, and how many bytes of
// it lie in the record, at its end.
func (h header) layout(segmentSize int) (own, rest int) {
	if !h.large() {
		return 0, h.valueLen()
	}
	return layout(h.keyLen(), h.valueLen(), segmentSize)
}

func layout(keyLen, valueLen, segmentSize int) (own, rest int) {
	own, rest = valueLen/segmentSize, valueLen%segmentSize
	if headerSize+keyLen+8*own+rest > segmentSize/2 {
		return own + 1, 0
	}
	return own, rest
}

// bodyLen is what follows the header in the queue.
func (h header) bodyLen(segmentSize int) int {
	own, rest := h.layout(segmentSize)
	return h.keyLen() + 8*own + rest
}

// fits reports whether the record that rec begins with ends within it. One from a file
// that does not is nobody's, for readers and writers alike.
func (h header) fits(rec []byte, segmentSize int) bool {
	return headerSize+h.bodyLen(segmentSize) <= len(rec)
}

// units is the record's length in the queue, in units.
func (h header) units(segmentSize int) int {
	if h.large() {
		return (headerSize + h.bodyLen(segmentSize) + unitSize - 1) / unitSize
	}
	return h.smallUnits()
}

// smallUnits is units of a record that is not large, without a call: it is asked for
// several times a Set.
func (h header) smallUnits() int {
	return (headerSize + h.keyLen() + h.valueLen() + unitSize - 1) / unitSize
}

// size is what the entry occupies, in bytes: its record and its own segments.
func (h header) size(segmentSize int) int {
	if h.large() {
		own, _ := h.layout(segmentSize)
		return h.units(segmentSize)*unitSize + own*segmentSize
	}
	return h.smallUnits() * unitSize
}
