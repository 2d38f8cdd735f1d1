package cache

// loadFence keeps the loads before it before the loads after it. amd64 never
// reorders loads.
func loadFence() {}
