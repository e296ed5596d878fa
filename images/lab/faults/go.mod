module e2e.invalid/faults

go 1.24
