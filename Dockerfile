# The node on ROS 2 Jazzy. NOT TESTED: no Docker was at hand where this was written; a test only
# parses it and sees that what it copies exists (test/project/packaging/test_files.py).
#   docker build -t motion_predictor .
#   docker run --rm --network host --ipc host motion_predictor config:=/config/my.yaml
FROM ros:jazzy-ros-base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Versions are those of the base image's release.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends \
      python3-colcon-common-extensions \
      python3-numpy \
      python3-pip \
      python3-scipy \
      ros-jazzy-rmw-fastrtps-cpp \
      ros-jazzy-tf2-msgs \
      ros-jazzy-visualization-msgs \
      ros-jazzy-trajectory-msgs \
    && rm -rf /var/lib/apt/lists/*

# NumPy and SciPy stay those that ROS was built with; a CPU-only torch is enough for the node.
COPY constraints.txt /tmp/constraints.txt
RUN grep -E '^(safetensors|torch)==' /tmp/constraints.txt > /tmp/pinned.txt \
    && pip install --no-cache-dir --break-system-packages -r /tmp/pinned.txt

WORKDIR /ws
COPY . src/motion_predictor
RUN . /opt/ros/jazzy/setup.bash && colcon build --packages-select motion_predictor

# Large clouds over shared memory: see docs/guide/run.md.
ENV FASTRTPS_DEFAULT_PROFILES_FILE=/ws/install/motion_predictor/share/motion_predictor/config/fastdds_large_messages.xml
RUN printf '#!/bin/bash\nset -e\n. /opt/ros/jazzy/setup.bash\n. /ws/install/setup.bash\nexec "$@"\n' > /start \
    && chmod +x /start
USER ubuntu
ENTRYPOINT ["/start", "ros2", "launch", "motion_predictor", "predictor.launch.py"]
