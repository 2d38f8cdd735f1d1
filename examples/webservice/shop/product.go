package shop

import "encoding/json"

// A Product is what the service answers, and what the cache holds.
type Product struct {
	ID          int64   `json:"id"`
	Name        string  `json:"name"`
	Description string  `json:"description"`
	Category    string  `json:"category"`
	Vendor      string  `json:"vendor"`
	Country     string  `json:"country"`
	PriceCents  int64   `json:"price_cents"`
	WeightGrams int64   `json:"weight_grams"`
	Stock       int64   `json:"stock"`
	Reviews     int64   `json:"reviews"`
	Stars       float64 `json:"stars"`
	Revision    int64   `json:"revision"` // grows with each change
}

// A ProductV2 is a Product of the next version of the service, with one more
// field. In a service of your own it is the same type, edited; here both exist,
// so that one program can be deployed as either.
type ProductV2 struct {
	Product
	CentsPerKilo int64 `json:"cents_per_kilo"`
}

func upgrade(p Product) ProductV2 {
	return ProductV2{p, p.PriceCents * 1000 / max(p.WeightGrams, 1)}
}

// The versions of the codec. Without them JSON would read an old value as a new
// one whose field is 0: not an error, and wrong.
const (
	version1 = 1
	version2 = 2
)

// migrate makes of what version 1 has stored what version 2 would have. The cache
// calls it when a value under another codec is read; false makes that a miss.
func migrate(old []byte) (ProductV2, bool) {
	var p Product
	if err := json.Unmarshal(old, &p); err != nil {
		return ProductV2{}, false
	}
	return upgrade(p), true
}

// size is what a product takes in a Go map: the struct, an entry of the map, and
// the strings.
func (p Product) size() int64 {
	const fixed = 224
	return int64(fixed + len(p.Name) + len(p.Description) + len(p.Category) + len(p.Vendor) + len(p.Country))
}
