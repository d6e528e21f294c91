"""Reads an exported probe with tools that espalier did not write: a Swift grammar, a pbxproj reader, plistlib, an XML parser, a QR reader.

Usage: check_probe.py EXPORT [PAIRING.json]

EXPORT is a folder that `espalier export` wrote. PAIRING.json holds `{"url": …, "svg": …}`; the code is drawn and read back. Prints one
JSON object; exits 1 at the first thing that is not as it should be, naming it.
"""
import json
import os
import plistlib
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

import tree_sitter
import tree_sitter_swift
from pbxproj import XcodeProject


def fail(message: str) -> None:
    sys.exit(f"check_probe: {message}")


def check_swift(folder: str) -> int:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_swift.language()))
    count = 0
    for part in ("Sources", "Tests"):
        for name in sorted(os.listdir(f"{folder}/{part}")):
            path = f"{folder}/{part}/{name}"
            tree = parser.parse(open(path, "rb").read())
            stack = [tree.root_node]
            while stack:
                node = stack.pop()
                if node.type == "ERROR" or node.is_missing:
                    row, column = node.start_point
                    fail(f"{path}:{row + 1}:{column + 1}: not Swift: {node.text[:60]!r}")
                stack.extend(node.children)
            count += 1
    # The grammar must be able to find a mistake, or the above says nothing.
    if not parser.parse(b"func broken( { let = }").root_node.has_error:
        fail("the grammar lets anything through")
    return count


def check_project(folder: str) -> dict:
    path = f"{folder}/Probe.xcodeproj/project.pbxproj"
    project = XcodeProject.load(path)
    objects = project.objects
    ids = [o.get_id() for o in objects.get_objects_in_section(*objects.get_sections())]
    if len(ids) != len(set(ids)) or not all(re.fullmatch(r"[0-9A-F]{24}", i) for i in ids):
        fail("ids of the project are not 24 hexadecimal digits, or not unique")
    # Every id that is mentioned stands for an object.
    for mentioned in set(re.findall(r"\b[0-9A-F]{24}\b", open(path).read())):
        if mentioned not in ids:
            fail(f"the project mentions {mentioned}, which is no object")
    source = lambda section: list(objects.get_objects_in_section(section))
    by_id = {o.get_id(): o for o in objects.get_objects_in_section(*objects.get_sections())}

    files = [f for f in source("PBXFileReference") if f.sourceTree == "SOURCE_ROOT"]
    for f in files:
        if not os.path.exists(os.path.join(folder, f.path)):
            fail(f"the project names {f.path}, which does not exist")
    swift_listed = {f.path for f in files if f.path.endswith(".swift")}
    swift_there = {f"{p}/{n}" for p in ("Sources", "Tests") for n in os.listdir(f"{folder}/{p}") if n.endswith(".swift")}
    if swift_listed != swift_there:
        fail(f"Swift files in the project and in the folder differ: {swift_listed ^ swift_there}")

    targets = {t.name: t for t in source("PBXNativeTarget")}
    if set(targets) != {"Probe", "ProbeTests"}:
        fail(f"targets are {sorted(targets)}")
    types = {n: t.productType for n, t in targets.items()}
    if types != {"Probe": "com.apple.product-type.application", "ProbeTests": "com.apple.product-type.bundle.unit-test"}:
        fail(f"product types are {types}")
    built = {}
    for name, target in targets.items():
        phases = [by_id[p] for p in target.buildPhases]
        sources = next(p for p in phases if p.isa == "PBXSourcesBuildPhase")
        built[name] = {by_id[by_id[b].fileRef].path for b in sources.files}
    if built["Probe"] != {p for p in swift_there if p.startswith("Sources/")}:
        fail("the app does not compile exactly its sources")
    if built["ProbeTests"] != {p for p in swift_there if p.startswith("Tests/")}:
        fail("the tests do not compile exactly their sources")
    dependency = by_id[targets["ProbeTests"].dependencies[0]]
    if dependency.target != targets["Probe"].get_id():
        fail("the tests do not depend on the app")

    script = next(by_id[p] for p in targets["Probe"].buildPhases if by_id[p].isa == "PBXShellScriptBuildPhase").shellScript
    copied = re.findall(r'ditto "\$SRCROOT/([^"]+)"', script)
    for path_ in copied:
        if not os.path.exists(os.path.join(folder, path_)):
            fail(f"the copying phase wants {path_}, which does not exist")
    for needed in ("Payload/probe.json", "Payload/golden.json"):
        if needed not in copied:
            fail(f"the copying phase leaves {needed} out")
    if sum(p.endswith(".mlpackage") for p in copied) != 1:
        fail("the copying phase does not take exactly one package")
    check_shell(script, "the copying phase")

    configurations = {}
    for target in targets.values():
        for c in by_id[target.buildConfigurationList].buildConfigurations:
            configurations[f"{target.name} {by_id[c].name}"] = by_id[c].buildSettings
    for name in ("Probe", "ProbeTests"):
        if not {f"{name} Debug", f"{name} Release"} <= set(configurations):
            fail(f"{name} lacks a configuration")
    info = configurations["Probe Release"]["INFOPLIST_FILE"]
    if not os.path.exists(f"{folder}/{info}"):
        fail(f"{info} does not exist")
    return {"objects": len(ids), "files": len(files), "copied": copied}


def check_scheme(folder: str) -> None:
    scheme = xml.parse(f"{folder}/Probe.xcodeproj/xcshareddata/xcschemes/Probe.xcscheme").getroot()
    text = open(f"{folder}/Probe.xcodeproj/project.pbxproj").read()
    references = scheme.findall(".//BuildableReference")
    if not references:
        fail("the scheme builds nothing")
    for reference in references:
        identifier = reference.get("BlueprintIdentifier")
        if not re.search(rf"{identifier} = {{\s+isa = PBXNativeTarget;", text):
            fail(f"the scheme names {identifier}, which is no target")
    tested = scheme.findall("./TestAction/Testables/TestableReference/BuildableReference")
    if [t.get("BlueprintName") for t in tested] != ["ProbeTests"]:
        fail("the scheme does not run the tests")
    for action in ("TestAction", "LaunchAction"):
        if scheme.find(f"./{action}").get("buildConfiguration") != "Release":
            fail(f"{action} is not in Release, where host code is as fast as it gets")


def check_plist(folder: str) -> None:
    plist = plistlib.load(open(f"{folder}/Info.plist", "rb"))
    for key in ("NSCameraUsageDescription", "NSLocalNetworkUsageDescription", "CFBundleExecutable", "UILaunchScreen"):
        if key not in plist:
            fail(f"Info.plist has no {key}")
    if plist["CFBundleURLTypes"][0]["CFBundleURLSchemes"] != ["espalier-probe"]:
        fail("Info.plist does not claim the link of the workbench")
    if plist["NSAppTransportSecurity"] != {"NSAllowsLocalNetworking": True}:
        fail("Info.plist allows more of the network than the own one")


def check_shell(script: str, name: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    if done.returncode != 0:
        fail(f"{name} is no shell script: {done.stderr}")


def check_code(pairing: dict) -> None:
    import numpy
    import zxingcpp

    svg = xml.fromstring(pairing["svg"])
    size = int(float(svg.get("viewBox").split()[2]))
    image = numpy.full((size, size), 255, numpy.uint8)
    for path in svg.iter("{http://www.w3.org/2000/svg}path"):
        for x, y, width, height in re.findall(r"M(\d+),(\d+)h(\d+)v(\d+)h-", path.get("d")):
            image[int(y) : int(y) + int(height), int(x) : int(x) + int(width)] = 0
    found = zxingcpp.read_barcodes(image)
    if [f.text for f in found] != [pairing["url"]]:
        fail(f"the QR code says {[f.text for f in found]}, not {pairing['url']}")


def main() -> int:
    export = sys.argv[1]
    folder = f"{export}/Probe"
    done = {"swift files": check_swift(folder), **check_project(folder)}
    check_scheme(folder)
    check_plist(folder)
    check_shell(open(f"{folder}/probe.sh").read(), "probe.sh")
    for path, _, names in os.walk(folder):
        for name in names:
            if "{{" in open(os.path.join(path, name), errors="replace").read() and not name.endswith(".swift"):
                fail(f"{name} has a placeholder that nobody filled")
    if len(sys.argv) > 2:
        check_code(json.load(open(sys.argv[2])))
        done["QR code"] = "read back"
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
