package store

import "syscall"

// yield is sched_yield(2): it returns at once if no thread waits for this processor. Go's scheduler need not know: the goroutine
// keeps its place, as it does when the kernel takes the processor away from it.
func yield() { _, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
