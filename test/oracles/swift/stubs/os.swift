// For type-checking only.
public func os_proc_available_memory() -> Int { fatalError() }
