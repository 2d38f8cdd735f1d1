package crashfs

import "fmt"

// A Kind is a kind of operation.
type Kind uint8

// Kinds that are only shown to hooks.
const (
	OpOpen    Kind = iota + 1 // of an existing file, or before OpCreate
	OpRead                    // ReadAt of a file or, with Op.Mapped, of a mapping
	OpMap                     // Len
	OpReadDir                 // Path is the directory
	OpLock                    // Lock and LockRange
	OpPush                    // Off, Len
)

// Kinds that are shown to hooks and then logged.
const (
	OpCreate   Kind = iota + 16 // a new name
	OpWrite                     // Off, Data
	OpAllocate                  // Off, Len
	OpSync                      // a file
	OpRemove                    // a name
	OpMkdir                     // durable at once, as FS.MkdirAll promises
	OpSyncDir                   // Path is the directory
)

// Kinds that are only logged.
const (
	OpSyncFailed    Kind = iota + 32 // a Sync that returned an error
	OpSyncDirFailed                  // a SyncDir that did
	OpDamage                         // Off, Data: bytes that nobody wrote
	OpDamageSize                     // Len: a size that nobody asked for
)

var kindNames = map[Kind]string{
	OpOpen: "open", OpRead: "read", OpMap: "map", OpReadDir: "readdir", OpLock: "lock", OpPush: "push",
	OpCreate: "create", OpWrite: "write", OpAllocate: "allocate", OpSync: "sync",
	OpRemove: "remove", OpMkdir: "mkdir", OpSyncDir: "syncdir",
	OpSyncFailed: "sync failed", OpSyncDirFailed: "syncdir failed",
	OpDamage: "damage", OpDamageSize: "damage size",
}

func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// An Op is one operation.
type Op struct {
	Kind   Kind
	Path   string
	Off    int64
	Len    int64
	Data   []byte // of a write; shared with the log, not to be changed
	Mapped bool   // OpRead through a mapping

	ino     uint64
	covers  int  // syncs: operations before this number are settled
	loss    Loss // failed syncs
	certain bool // damage: whatever settles this keeps it
}

func (op Op) String() string {
	switch op.Kind {
	case OpRead, OpWrite, OpAllocate, OpDamage:
		return fmt.Sprintf("%v %s %d+%d", op.Kind, op.Path, op.Off, op.Len)
	case OpMap, OpDamageSize:
		return fmt.Sprintf("%v %s %d", op.Kind, op.Path, op.Len)
	}
	return fmt.Sprintf("%v %s", op.Kind, op.Path)
}

func (op Op) end() int64 { return op.Off + op.Len }
