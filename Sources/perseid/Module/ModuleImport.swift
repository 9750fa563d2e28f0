import ArgumentParser
import Capsule
import CapsuleFormat
import FoundationEssentials
import Provisioner

/// `perseid module import SOURCE`
struct ModuleImport: ShowingVerb {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Take a module in, or a new version in place of the one there is.",
    discussion:
      "SOURCE: a directory or a tar archive with a module.yaml, or the name of a module that comes with perseid.")

  @Argument(help: "Directory, archive, or name.", completion: .file())
  var source: String

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest {
    get throws {
      let path = try Self.find(source)
      let bundle = try ModuleArchive.read(path)
      let archive = Data(try bundle.encoded()).base64EncodedString()
      guard archive.utf8.count <= 1 << 20 - 4096 else {
        throw ApplianceError(
          .refused,
          "The module \(path) is too large: compressed it has \(archive.utf8.count * 3 / 4) bytes, where 780 KB are "
            + "taken. Large files belong into the capsule.")
      }
      return try AdminRequest(.post, ["modules"], json: ImportModule(source: source, archive: archive))
    }
  }

  func text(_ module: ModuleView) -> String {
    let active = module.active.isEmpty ? "" : ", active at \(module.active.joined(separator: ", "))"
    let roles = module.roles.isEmpty ? ["init/all"] : module.roles
    let next = "Activate it: perseid module activate \(module.name) \(roles.joined(separator: " "))\n"
    return "Imported \(module.name) \(module.version)\(active).\n" + (module.active.isEmpty ? next : "")
  }

  /// What is there under that path; else the module of that name that was installed with perseid.
  private static func find(_ source: String) throws -> String {
    if FileManager.default.fileExists(atPath: source) { return source }
    let places = Companions.modules
    let own = places.map { $0 + "/" + source }.first { FileManager.default.fileExists(atPath: $0) }
    if ModuleManifest.isValid(name: source), let own { return own }
    let names = Companions.moduleNames
    throw ApplianceError(
      .notFound,
      "There is no file or directory '\(source)', and no module of that name in \(places.joined(separator: ", "))"
        + (names.isEmpty ? "." : "; there are: \(names.joined(separator: ", "))."))
  }
}
