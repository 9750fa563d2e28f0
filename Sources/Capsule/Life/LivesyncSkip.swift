import CapsuleFormat

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What of another generation running nodes do not take over.
///
/// What the kernel and the boot make there is never taken, nor the files that stage 1 adds the client's start to.
/// Besides, a capsule says it in two ways: by paths in its capsule.yaml, and by the list livesync.skip of Perceus, whose
/// lines are extended regular expressions for paths that begin with `/`.
struct LivesyncSkip: ~Copyable {
  private static let always: Set<String> = ["boot", "dev", "proc", "run", "sys", "tmp"]

  private static let started: Set<String> = ["etc/inittab", "etc/rc.local", "etc/init.d/rcS"]

  private let paths: [String]
  private var expressions: [UnsafeMutablePointer<regex_t>] = []

  /// - Throws: `CapsuleError` with code `badSettings`.
  init(paths: [String], list: String) throws(CapsuleError) {
    self.paths = paths
    for line in list.split(whereSeparator: \.isNewline) where !line.allSatisfy(\.isWhitespace) && line.first != "#" {
      let expression = UnsafeMutablePointer<regex_t>.allocate(capacity: 1)
      let result = regcomp(expression, String(line), REG_EXTENDED | REG_NOSUB)
      guard result == 0 else {
        expression.deallocate()
        throw CapsuleError(
          .badSettings, "/etc/perseid/livesync.skip of the capsule: '\(line)' is no extended regular expression",
          remedy: "Change it in the tree: perseid vnfs mount NAME")
      }
      expressions.append(expression)
    }
  }

  deinit {
    for expression in expressions {
      regfree(expression)
      expression.deallocate()
    }
  }

  func skips(_ path: TreePath) -> Bool {
    guard let top = path.components.first else { return true }
    if Self.always.contains(String(decoding: top, as: UTF8.self)) { return true }
    if Self.started.contains(path.description) { return true }
    if paths.isEmpty && expressions.isEmpty { return false }
    // Whoever names a directory means all that is in it.
    var name = ""
    for component in path.components {
      name += "/" + String(decoding: component, as: UTF8.self)
      if paths.contains(where: { fnmatch($0, name, FNM_PATHNAME) == 0 }) { return true }
      if expressions.contains(where: { regexec($0, name, 0, nil, 0) == 0 }) { return true }
    }
    return false
  }
}
