import ArgumentParser
import Capsule
import Provisioner

/// `perseid vnfs diff A B`: reads the content store itself.
struct VNFSDiff: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "Show what is different between two capsules, or two generations of one.")

  @Argument(help: "The capsule before: debian-12, debian-12:3.")
  var before: CapsuleReference

  @Argument(help: "The capsule after.")
  var after: CapsuleReference

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  func run() async throws {
    let store = try ContentStore(directory: try common.configuration().paths.state)
    let hold = try store.hold()
    defer { withExtendedLifetime(hold) {} }
    let (first, second) = try await Access.with(common) {
      (try await before.resolve($0), try await after.resolve($0))
    }
    let progress = ImportProgress()
    let difference: CapsuleDifference
    do {
      defer { progress.finish() }
      difference = try await interruptible {
        try await CapsuleDifference.between(first.digest, second.digest, in: store) { progress.report($0) }
      }
    }
    try show(output.json ? try JSONText.of(difference) : Self.text(difference, first, second))
  }

  private static func text(
    _ difference: CapsuleDifference, _ first: ResolvedCapsule, _ second: ResolvedCapsule
  ) -> String {
    var sheet = Sheet()
    let (old, new) = (difference.before, difference.after)
    sheet.add("before", first.words)
    sheet.add("after", second.words)
    sheet.add("kernel", old.kernel == new.kernel ? old.kernel : "\(old.kernel) -> \(new.kernel)")
    sheet.add("size", "\(Quantity.bytes(old.bytes)) -> \(Quantity.bytes(new.bytes))")
    sheet.add("unpacked", "\(Quantity.bytes(old.rootBytes)) -> \(Quantity.bytes(new.rootBytes))")
    sheet.add("to fetch", "\(Quantity.bytes(difference.newFrameBytes)) of root file system, by a node with the first")
    var text = sheet.text
    if difference.isEmpty { return text + "\nNo file and no package is different.\n" }
    if !difference.packages.isEmpty {
      var table = Table(["", "PACKAGE", "BEFORE", "AFTER"])
      for package in difference.packages {
        let sign = package.before == nil ? "+" : package.after == nil ? "-" : "~"
        table.add([sign, package.name, package.before, package.after])
      }
      text += "\n" + table.text
    }
    var lines = difference.added.map { ($0, "+ \($0)") } + difference.removed.map { ($0, "- \($0)") }
    lines += difference.changed.map { ($0.path, "~ \($0.path)  (\($0.what.joined(separator: ", ")))") }
    if !lines.isEmpty { text += "\n" + lines.sorted { $0.0 < $1.0 }.map { $0.1 + "\n" }.joined() }
    if difference.touched > 0 {
      text += "\n\(difference.touched) more differ\(difference.touched == 1 ? "s" : "") in nothing but the time.\n"
    }
    return text
  }
}
