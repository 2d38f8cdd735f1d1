// Package hitratio has what hit ratios are compared with: traces, and policies of
// eviction by item. All entries of a policy have the same size, a cache has room for a
// number of them, and keys are dense.
package hitratio
