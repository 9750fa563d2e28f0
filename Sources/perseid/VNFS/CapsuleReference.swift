import ArgumentParser
import Capsule
import CapsuleFormat
import Provisioner

/// A capsule as people name it: `debian-12`, which is what boots, or `debian-12:3`, one of its generations.
struct CapsuleReference: ExpressibleByArgument, Hashable {
  var name: String
  var generation: Int?

  init(name: String) {
    self.name = name
  }

  init?(argument: String) {
    let parts = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let name = parts.first, !name.isEmpty else { return nil }
    self.name = String(name)
    guard parts.count == 2 else { return }
    guard let number = Int(parts[1]), number > 0 else { return nil }
    generation = number
  }

  static var defaultCompletionKind: CompletionKind { Names.capsules }

  /// Which generation of which capsule that is.
  func resolve(_ access: Access) async throws -> ResolvedCapsule {
    let view: CapsuleView = try await access.get(AdminRequest(.get, ["vnfs", name]))
    let number = generation ?? view.generation
    guard let found = view.generations.first(where: { $0.generation == number }), let digest = Digest(found.digest)
    else {
      let numbers = view.generations.map { String($0.generation) }.joined(separator: ", ")
      throw ApplianceError(.notFound, "There is no generation \(number) of \(name). There are: \(numbers).")
    }
    return ResolvedCapsule(name: name, generation: number, digest: digest, signatures: found.signatures)
  }
}

/// One generation of a capsule.
struct ResolvedCapsule: Hashable, Sendable {
  var name: String
  var generation: Int
  var digest: Digest
  var signatures: [CapsuleSignature]

  var words: String { "\(name), generation \(generation)" }
}
