package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Typed is a view of a Cache with Go types. Several may share one Cache if their
// Namespace differs. A view holds nothing of its own, so its methods follow those
// of the Cache that have the same name, and end with it.
//
// An entry says itself what it is. Lengths take one byte each:
//
//	key:   length, namespace, length, name of the key codec, key
//	value: length, name of the value codec, value
//
// So the keys of two namespaces never meet, and no build takes another's bytes for
// its own. OnEvict, and All of the Cache, show keys and values in this form. Keys
// given to the Cache directly lie beside them: one that begins like this is taken
// for a view's.
type Typed[K comparable, V any] struct {
	c           *Cache
	keys        Codec[K]
	values      Codec[V]
	o           TypedOptions[K, V]
	terms       *terms
	namespace   []byte // that all keys of the namespace begin with
	keyPrefix   []byte // that the keys of this view begin with
	valuePrefix []byte // that values of today's codec begin with
}

// TypedOptions configures Of. A nil *TypedOptions is valid.
type TypedOptions[K comparable, V any] struct {
	// Namespace is prefixed to keys; 255 bytes at most.
	Namespace string
	// Freshness is that of the Cache by default. In one that is given, fields that
	// are 0 mean what they do in Options.
	Freshness *Freshness
	// TTL is asked per entry by what sets one without a TTL of its own; 0:
	// Freshness.TTL, negative: none.
	TTL func(key K, v V) time.Duration
	// Load loads a value for GetOrLoad, GetOrLoadMany and Refresh where they are
	// given no load; ErrNotFound says that there is none.
	Load func(ctx context.Context, key K) (V, error)
	// LoadMany loads values for GetOrLoadMany, and where Load is not set for the
	// others. What it leaves out does not exist. keys are its to keep.
	LoadMany func(ctx context.Context, keys []K) (map[K]V, error)
	// MemoryOnly keeps this namespace out of every file. What an earlier process
	// stored without it stays there until it is overwritten or evicted.
	MemoryOnly bool
	// Migrate turns a value written under another codec name or version into
	// today's, at its first read; false drops it. Without it such values are
	// misses. What it returns takes the old value's place and keeps its expiry,
	// unless the key was written meanwhile. old is a copy of what that codec
	// stored. It may be called for the same entry by several goroutines at once.
	Migrate func(codec string, key K, old []byte) (V, bool)
}

// Of returns a typed view of c. It fails without a Cache or a codec, for a codec
// whose name is empty or over 255 bytes or that cannot be used (see Versioned), for
// a Namespace over 255 bytes or a bad Freshness, and with ErrSchema if the Namespace
// is in use on c with other codecs or another MemoryOnly. Entries of a run before
// with another value codec are what Migrate is for; those with another key codec are
// not found, and go when their space is needed.
func Of[K comparable, V any](c *Cache, keys Codec[K], values Codec[V], o *TypedOptions[K, V]) (*Typed[K, V], error) {
	if c == nil || keys == nil || values == nil {
		return nil, errors.New("cache: Of needs a Cache, a codec for keys and one for values")
	}
	t := &Typed[K, V]{c: c, keys: keys, values: values, terms: &c.terms}
	if o != nil {
		t.o = *o
	}
	if f := t.o.Freshness; f != nil {
		terms, err := c.termsOfView(*f)
		if err != nil {
			return nil, err
		}
		t.terms = terms
	}
	if err := errors.Join(misuse(keys), misuse(values)); err != nil {
		return nil, err
	}
	if n := len(t.o.Namespace); n > maxName {
		return nil, fmt.Errorf("cache: Namespace has %d bytes; the most is %d", n, maxName)
	}
	use := namespaceUse{keys.Name(), values.Name(), t.o.MemoryOnly}
	for _, name := range []string{use.keys, use.values} {
		if len(name) == 0 || len(name) > maxName {
			return nil, fmt.Errorf("cache: the name of a codec has %d bytes; 1 to %d are possible: %.40q", len(name), maxName, name)
		}
	}
	if err := c.namespaces.claim(t.o.Namespace, use); err != nil {
		return nil, err
	}
	t.namespace = appendName(nil, t.o.Namespace)
	t.keyPrefix = appendName(bytes.Clone(t.namespace), use.keys)
	t.valuePrefix = appendName(nil, use.values)
	return t, nil
}

// maxName is what a length of one byte can say.
const maxName = 255

func appendName(dst []byte, name string) []byte {
	return append(append(dst, byte(len(name))), name...)
}

// cutName is the inverse; false if b does not begin with a name.
func cutName(b []byte) (name string, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}

// termsOfView translates a Freshness that is not the Cache's own. The first that
// slides begins what slides are done by, if the Cache does not slide itself.
func (c *Cache) termsOfView(f Freshness) (*terms, error) {
	def(&f.Jitter, defaultJitter)
	if err := f.validate(); err != nil {
		return nil, err
	}
	c.namespaces.mu.Lock()
	defer c.namespaces.mu.Unlock()
	if f.Sliding && c.slides == nil && !c.namespaces.closed {
		c.slides = make(chan slide, slidesWaiting)
		c.running.Add(1)
		go c.slideAll(c.slides)
	}
	t := c.termsOf(&f)
	return &t, nil
}

// namespaces are those of the views of a Cache.
type namespaces struct {
	mu     sync.Mutex
	uses   map[string]namespaceUse
	closed bool // no background goroutine begins any more
}

func (n *namespaces) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
}

// A namespaceUse is what all views of a namespace must agree on.
type namespaceUse struct {
	keys, values string // names of codecs
	memoryOnly   bool
}

func (u namespaceUse) String() string {
	return fmt.Sprintf("keys %q, values %q, MemoryOnly %v", u.keys, u.values, u.memoryOnly)
}

func (n *namespaces) claim(name string, use namespaceUse) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.uses[name]; ok && old != use {
		return fmt.Errorf("%w: namespace %q is in use with %v, not %v", ErrSchema, name, old, use)
	}
	if n.uses == nil {
		n.uses = make(map[string]namespaceUse)
	}
	n.uses[name] = use
	return nil
}

// A typedBuffer is where keys and values are made. Who panics does not give it
// back.
type typedBuffer struct{ key, value []byte }

var typedBuffers = sync.Pool{New: func() any { return new(typedBuffer) }}

// mostKept is up to which size a buffer is kept for the next.
const mostKept = 64 << 10

func takeBuffer() *typedBuffer { return typedBuffers.Get().(*typedBuffer) }

func (b *typedBuffer) give() {
	if cap(b.key)+cap(b.value) <= mostKept {
		typedBuffers.Put(b)
	}
}

// appendCoded appends prefix, then v.
func appendCoded[T any](dst, prefix []byte, codec Codec[T], v T) ([]byte, error) {
	n := len(dst)
	dst = append(dst, prefix...)
	b, err := codec.Append(dst, v)
	if err != nil {
		return dst[:n], fmt.Errorf("cache: encode as %s: %w", codec.Name(), err)
	}
	if len(b) < len(dst) || !bytes.Equal(b[n:len(dst)], prefix) {
		return dst[:n], fmt.Errorf("cache: codec %s does not append to what it is given", codec.Name())
	}
	return b, nil
}

// encodeKey makes the key under which the cache has it.
func (t *Typed[K, V]) encodeKey(b *typedBuffer, key K) (err error) {
	b.key, err = appendCoded(b.key[:0], t.keyPrefix, t.keys, key)
	return err
}

func (t *Typed[K, V]) encodeValue(b *typedBuffer, v V) (err error) {
	b.value, err = appendCoded(b.value[:0], t.valuePrefix, t.values, v)
	return err
}
