# SPDX-License-Identifier: Apache-2.0
"""BVH files as texts."""

from __future__ import annotations

from motion_predictor.body.skeleton import H36M17

JOINT = H36M17.index


# A CMU-style hierarchy in its own unit (1 inch / 0.45), y up, facing +z, arms stretched out.
BVH = """HIERARCHY
ROOT {p}Hips
{{ OFFSET 0 0 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
 JOINT {p}LHipJoint
 {{ OFFSET 0 0 0
  CHANNELS 3 Zrotation Yrotation Xrotation
  JOINT {p}LeftUpLeg
  {{ OFFSET 1.6 -1.8 0
   CHANNELS 3 Zrotation Yrotation Xrotation
   JOINT {p}LeftLeg
   {{ OFFSET 0 -7.2 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    JOINT {p}LeftFoot
    {{ OFFSET 0 -7.4 0
     CHANNELS 3 Zrotation Yrotation Xrotation
     End Site
     {{ OFFSET 0 0 2 }}
    }}
   }}
  }}
 }}
 JOINT {p}RightUpLeg
 {{ OFFSET -1.6 -1.8 0
  CHANNELS 3 Zrotation Yrotation Xrotation
  JOINT {p}RightLeg
  {{ OFFSET 0 -7.2 0
   CHANNELS 3 Zrotation Yrotation Xrotation
   JOINT {p}RightFoot
   {{ OFFSET 0 -7.4 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    End Site
    {{ OFFSET 0 0 2 }}
   }}
  }}
 }}
 JOINT {p}LowerBack
 {{ OFFSET 0 0 0
  CHANNELS 3 Zrotation Yrotation Xrotation
  JOINT {p}Spine
  {{ OFFSET 0 2.3 0
   CHANNELS 3 Zrotation Yrotation Xrotation
   JOINT {p}{neck}
   {{ OFFSET 0 4.6 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    JOINT {p}Head
    {{ OFFSET 0 3 0
     CHANNELS 3 Zrotation Yrotation Xrotation
     End Site
     {{ OFFSET 0 2 0 }}
    }}
   }}
   JOINT {p}LeftShoulder
   {{ OFFSET 0 4 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    JOINT {p}LeftArm
    {{ OFFSET 3 0 0
     CHANNELS 3 Zrotation Yrotation Xrotation
     JOINT {p}LeftForeArm
     {{ OFFSET 5 0 0
      CHANNELS 3 Zrotation Yrotation Xrotation
      JOINT {p}LeftHand
      {{ OFFSET 4 0 0
       CHANNELS 3 Zrotation Yrotation Xrotation
       End Site
       {{ OFFSET 1 0 0 }}
      }}
     }}
    }}
   }}
   JOINT {p}RightArm
   {{ OFFSET -3 4 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    JOINT {p}RightForeArm
    {{ OFFSET -5 0 0
     CHANNELS 3 Zrotation Yrotation Xrotation
     JOINT {p}RightHand
     {{ OFFSET -4 0 0
      CHANNELS 3 Zrotation Yrotation Xrotation
      End Site
      {{ OFFSET -1 0 0 }}
     }}
    }}
   }}
  }}
 }}
}}
MOTION
Frames: {frames}
Frame Time: 0.00833333
{values}
"""


def bvh_text(frames: list[dict[int, float]], prefix: str = '', neck: str = 'Neck') -> str:
    """Return a file with frames, each given by its channels that are not zero."""
    text = BVH.replace('{p}', prefix).replace('{neck}', neck)
    width = sum(int(words.split()[0]) for words in text.split('CHANNELS ')[1:])
    values = []
    for frame in frames:
        row = [0.0] * width
        for channel, value in frame.items():
            row[channel] = value
        values.append(' '.join(f'{value:g}' for value in row))
    return text.format(frames=len(frames), values='\n'.join(values))
