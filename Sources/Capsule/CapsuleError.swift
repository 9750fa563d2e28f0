#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Why a capsule could not be made, stored or read; its description is meant for a person.
package struct CapsuleError: Error, Sendable, CustomStringConvertible {
  package enum Code: Hashable, Sendable {
    /// The source is not there, or is neither a directory nor an archive.
    case badSource
    /// Something in the source cannot be read, or changed while it was read.
    case unreadable
    /// An archive is truncated, damaged or hostile.
    case badArchive
    case noKernel
    case noModules
    case badName
    /// The tree's /etc/perseid/capsule.yaml, or a recipe, says what cannot be.
    case badSettings
    case noSpace
    /// The content store cannot be read or written.
    case storage
    /// A program that is needed is missing or failed.
    case tool
    /// The bytes of a blob are not those its digest names.
    case damagedBlob
    case missingBlob
    case badManifest
    /// A mount that is needed is not there, or is not whole.
    case notMounted
    /// Somebody else is at it.
    case busy
    /// A key that cannot be used, or is not there.
    case badKey
    /// A signature is missing, or is none of the capsule's.
    case badSignature
  }

  package var code: Code
  /// What was being done, with what, and what went wrong: a sentence without its full stop.
  package var problem: String
  /// What to do next: a sentence without its full stop.
  package var remedy: String

  package init(_ code: Code, _ problem: String, remedy: String) {
    self.code = code
    self.problem = problem
    self.remedy = remedy
  }

  package var description: String {
    // The words of a program stand on lines of their own.
    problem.hasSuffix("\n") ? "\(problem)\(remedy)." : "\(problem). \(remedy)."
  }

  /// An error of the system while writing.
  static func writing(_ path: String, errno number: Int32) -> CapsuleError {
    if number == ENOSPC || number == EDQUOT {
      return CapsuleError(
        .noSpace, "Writing to \(path) failed: the disk is full",
        remedy: "Free some space there, or move the state directory (paths.state), and try again; "
          + "nothing half-written was kept")
    }
    return CapsuleError(
      .storage, "Writing to \(path) failed: \(text(of: number))",
      remedy: "Check the directory's owner and the state of its file system, and try again")
  }

  /// An error of the system while reading the source.
  static func reading(_ path: String, errno number: Int32) -> CapsuleError {
    let remedy =
      number == EACCES || number == EPERM
      ? "Run the import as root, so that every file of the tree can be read"
      : "Check the file, and import again"
    return CapsuleError(.unreadable, "Reading \(path) failed: \(text(of: number))", remedy: remedy)
  }

  static func text(of number: Int32) -> String {
    guard let text = strerror(number) else { return "error \(number)" }
    return String(cString: text)
  }
}
