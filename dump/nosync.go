package dump

import (
	"os"

	"github.com/embercache/ember/pagefile"
)

// unsynced is a file system whose syncs do nothing, for Config.NoSync: a power
// cut may then cost the newest generations, a killed process still nothing.
type unsynced struct{ pagefile.FS }

type unsyncedFile struct{ pagefile.File }

// OpenFile opens a file whose Sync does nothing.
func (u unsynced) OpenFile(path string, flag int, perm os.FileMode) (pagefile.File, error) {
	f, err := u.FS.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

// SyncDir does nothing.
func (u unsynced) SyncDir(string) error { return nil }

// Sync does nothing.
func (u unsyncedFile) Sync() error { return nil }

// Reserve and Forget are the file's.
func (u unsyncedFile) Reserve(off, n int64) error { return pagefile.Reserve(u.File, off, n) }
func (u unsyncedFile) Forget(off, n int64)        { pagefile.Forget(u.File, off, n) }
