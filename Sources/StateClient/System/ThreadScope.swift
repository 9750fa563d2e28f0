import Glibc

/// Threads that end before their scope does: structured concurrency for a program without an executor.
///
/// In process 1 of an initramfs there is one blocking pipeline and nothing else; threads of the
/// C library serve it with less than the concurrency runtime would bring.
package struct ThreadScope: ~Copyable {
  private var threads: [pthread_t] = []

  private init() {}

  /// Runs `body`; returns when it and every thread that it started are done. The body must see to it
  /// that its threads end, also when it throws.
  package static func run<Result>(_ body: (inout ThreadScope) throws -> Result) rethrows -> Result {
    var scope = ThreadScope()
    defer { for thread in scope.threads { pthread_join(thread, nil) } }
    return try body(&scope)
  }

  /// Starts a thread.
  package mutating func start(_ name: String, _ work: @escaping @Sendable () -> Void) throws(SystemError) {
    let box = Unmanaged.passRetained(Box(work))
    var thread = pthread_t()
    let error = pthread_create(&thread, nil, runBox, box.toOpaque())
    guard error == 0 else {
      box.release()
      throw SystemError("start the thread \(name)", code: error)
    }
    threads.append(thread)
  }
}

private final class Box: Sendable {
  let work: @Sendable () -> Void

  init(_ work: @escaping @Sendable () -> Void) {
    self.work = work
  }
}

private func runBox(_ pointer: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  if let pointer { Unmanaged<Box>.fromOpaque(pointer).takeRetainedValue().work() }
  return nil
}
